"""What of the promises about privacy holds, in figures: secrets, planted instructions."""
