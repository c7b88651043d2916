"""What the details of an architecture change in what is generated."""
