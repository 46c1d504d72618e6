"""What Airflow loads: bundle, timetable, operator, trigger, plugin. Import nothing heavy here."""
