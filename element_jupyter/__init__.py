"""Element: JupyterLab notebooks become dependable Airflow jobs.

Importing this package costs nothing: the faces (server, hub, service, runner, provider) are
imported by the process that needs them. `tests/test_architecture.py` holds the rules.
"""
