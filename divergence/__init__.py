"""Fit the joint distribution over benchmark and production logs."""
