"""The HTTP doors of checkout: buyers' on the public port, administrators' on the internal one."""
