"""One file for each version of the tables. A version only adds: the one before goes on working."""
