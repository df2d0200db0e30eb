"""What keys and clients are used for: counters of calls, the ledger of billable streams, and reports of both."""
