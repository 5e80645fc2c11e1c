"""Which schedule is the fastest on this machine?  Candidates for each group, run side by side, and the choice."""
