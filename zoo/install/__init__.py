"""Plugins as distributions: chosen, checked, installed, switched off, examined, frozen. Commands that look skip it."""
