"""What runs inside a kernel, in the Python of its environment: 3.9 or later, and ipykernel.

Nothing here imports anything of `element_jupyter`, which that Python need not have: these files are
run and loaded by their paths.
"""
