"""Who a person is to the Hub, by a directory, a provider or accounts of its own.

Each authenticator says a user name and groups; `teams.TeamsFromRules` makes rights of them.
"""
