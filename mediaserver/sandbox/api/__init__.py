"""The sandbox's REST API: Plivo's paths, parameters and answers."""
