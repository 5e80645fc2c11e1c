"""Which schedule is the fastest on this machine?  Candidates for each group, a program that runs them side by side, and the choice."""
