"""A phone: one call to any server that speaks Plivo's stream protocol."""
