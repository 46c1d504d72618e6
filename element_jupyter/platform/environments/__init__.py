"""Environments, composed: what finds, locks, builds and keeps them, for every process of ours."""
