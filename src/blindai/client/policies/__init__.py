"""Policies as their owner handles them: read aloud, compared, converted, published, begun."""
