"""What each part costs on this machine, as ratios measured in one run."""
