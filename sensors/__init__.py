"""Jobs now; schedules, automation and sensors come with the loop that carries new months by itself."""
