"""What kernels, servers and runs use of a machine: values, and rules about them."""
