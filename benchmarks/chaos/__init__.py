"""Real faults: served sites and a campaign runner as processes of their own, killed, cut off, filled up and stopped."""
