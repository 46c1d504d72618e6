"""Environments: from the definition beside a notebook to the packages that its kernel has.

A **definition** is a file, or a block in a notebook, that names packages. It is **locked**: every
package at one version, every file by its sha256. A lock, selected for one interpreter and platform,
gives **artefacts**, and their hashes are the **environment id**. A built environment never changes.

    definition ──(key)──► lock ──(lock id)──► artefacts ──(environment id)──► directory in the store

`definitions` says what is found, `identity` what names it, `building` what happens on the way and
what can go wrong, `keeping` what the store remembers.
"""
