"""Ansible's playbook language: loading, variables, templates, batches, one host's run."""
