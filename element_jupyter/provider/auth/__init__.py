"""Airflow's auth manager: people sign in at the Hub, and see what is their teams'."""
