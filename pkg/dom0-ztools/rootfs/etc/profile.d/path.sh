# shellcheck shell=dash
# In the debug container the tools of the root file system are below /hostfs.
[ ! -d /hostfs/usr/bin ] || export PATH="$PATH:/hostfs/usr/sbin:/hostfs/usr/bin"
