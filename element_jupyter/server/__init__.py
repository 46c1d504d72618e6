"""The face in a person's Jupyter server: forwards to the control plane, and takes snapshots.

Keeps no state: closing the server loses nothing.
"""
