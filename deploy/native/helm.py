"""helm: to lint the chart, and to see what it makes of values."""

from __future__ import annotations

from deploy.native.golang import GoProgram

PROGRAM = GoProgram("Helm", "helm.sh/helm/v4/cmd/helm", "4.3.1", takes="about 4 minutes")

if __name__ == "__main__":
    PROGRAM.find()
