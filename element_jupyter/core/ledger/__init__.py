"""The ledger: what was given and really used, priced when it is read."""
