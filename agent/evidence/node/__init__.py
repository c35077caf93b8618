"""Evidence of Node processes, through their inspector."""
