"""AssemblyAI: streaming recognition that takes the turns."""
