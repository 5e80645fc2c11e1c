"""From a fused group to one Kernel: a template where there is one, else generic loops."""
