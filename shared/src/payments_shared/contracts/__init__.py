"""What services say to each other. Each owner's messages stand in the module of its name."""
