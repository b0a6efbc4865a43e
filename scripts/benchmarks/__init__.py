"""Speed and memory of catclf beside what a user would take instead, as ratios of one run."""
