"""What `mediaserver dev` runs: an agent, the sandbox, and a page to talk to the agent from."""
