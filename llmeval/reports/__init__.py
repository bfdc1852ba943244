"""What is made of run records: comparisons, leaderboards, regression gates, pages."""
