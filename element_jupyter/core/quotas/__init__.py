"""Quotas: what servers and runs may have, who used what, and when a limit lets them go on."""
