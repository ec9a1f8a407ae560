#!/bin/sh
echo "script $1 $2 $FOO"
exit ${3:-0}
