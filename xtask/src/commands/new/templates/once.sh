#!/bin/busybox ash
# shellcheck shell=dash

echo "@name@ runs"
