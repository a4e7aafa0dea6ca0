"""What is to be believed of a run, where a server's limit is, and when enough has been measured."""
