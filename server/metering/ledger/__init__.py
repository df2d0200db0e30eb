"""The ledger of billable streams."""
