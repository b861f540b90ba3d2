"""The course of one trial, from its first message to its record."""
