"""The control plane: jobs, runs and schedules over HTTP."""
