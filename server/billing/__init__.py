"""What developers are billed for: streams by day, and monthly statements of the ledger."""
