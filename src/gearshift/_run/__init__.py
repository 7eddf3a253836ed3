"""One run: the ledger of its items, the pump that moves them, the drivers that wait."""
