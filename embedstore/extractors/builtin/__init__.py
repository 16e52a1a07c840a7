"""Extractors without a network: colour statistics, and classical features of stain and texture."""
