"""Jobs as files: the store (`store`), its change feed (`feed`) and their YAML (`job_yaml`)."""
