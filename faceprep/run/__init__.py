"""The engine that plans, runs, commits and resumes a job."""
