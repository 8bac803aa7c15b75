//! The knobs of the image, of packages, and of this machine.

use crate::kinds::{OPTIONS, SECRET, SWITCH, complete};
use crate::{CacheMode, Compression, ImageFormat, InstallTools, InstallerFormat, RootfsFormat, parse};
use clap::Args;
use common::{Arch, PackageWork};
use std::path::PathBuf;

/// Contents and format of the image.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the image", mut_args = complete)]
pub struct ImageKnobs {
    /// version of the image; from git when unset
    #[arg(id = "ROOTFS_VERSION", long = "rootfs-version", value_name = "TEXT", value_parser = parse::version)]
    pub rootfs_version: Option<String>,
    /// architecture of the image; this machine's own when unset
    #[arg(id = "ZARCH", long = "zarch", value_name = "WORD", default_value = Arch::host_word(), hide_default_value = true, value_parser = parse::word::<Arch>(Arch::WORDS))]
    pub arch: Arch,
    /// hypervisor of the root file system; the tree's profile lists the possible ones
    #[arg(id = "HV", long = "hv", value_name = "TEXT", default_value = "kvm")]
    pub hv: String,
    /// format of the live image
    #[arg(id = "IMAGE_FORMAT", long = "image-format", alias = "IMG_FORMAT", value_name = "WORD", default_value = "qcow2", value_parser = parse::word::<ImageFormat>(ImageFormat::WORDS))]
    pub image_format: ImageFormat,
    /// file system of rootfs.img
    #[arg(id = "ROOTFS_FORMAT", long = "rootfs-format", value_name = "WORD", default_value = "squash", value_parser = parse::word::<RootfsFormat>(RootfsFormat::WORDS))]
    pub rootfs_format: RootfsFormat,
    /// compressor of a squashfs rootfs.img: xz gives a small file, gzip packs fast
    #[arg(id = "ROOTFS_COMPRESSION", long = "rootfs-compression", value_name = "WORD", default_value = "xz", value_parser = parse::word::<Compression>(Compression::WORDS))]
    pub compression: Compression,
    /// largest rootfs.img, 1 to 16777216 MiB; the tree's own limit when unset
    #[arg(id = "ROOTFS_MAXSIZE_MB", long = "rootfs-max-size", value_name = "MIB", value_parser = parse::number(1, 16 << 20))]
    pub rootfs_most: Option<u64>,
    /// folder whose files go into config.img
    #[arg(id = "CONF_DIR", long = "conf-dir", value_name = "PATH", default_value = "conf")]
    pub conf_dir: PathBuf,
    /// size of the final disk: 1 to 16777216 MiB
    #[arg(id = "MEDIA_SIZE", long = "media-size", value_name = "MIB", default_value = "32768", value_parser = parse::number(1, 16 << 20))]
    pub media_size: u64,
    /// development build: packages that have a build-dev.yml use it, and the version ends in -dev
    #[arg(id = "DEV", long = "dev", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub dev: bool,
    /// tag that replaces every package's own
    #[arg(id = "EVE_HASH", long = "eve-hash", value_name = "TEXT")]
    pub eve_hash: Option<String>,
    /// format of `installer`: a disk, an ISO, or a tar for a network boot
    #[arg(id = "INSTALLER_IMG_FORMAT", long = "installer-image-format", value_name = "WORD", default_value = "raw", value_parser = parse::word::<InstallerFormat>(InstallerFormat::WORDS))]
    pub installer_format: InstallerFormat,
    /// board or variant of the image, such as imx8mq_evk; generic when unset
    #[arg(id = "PLATFORM", long = "platform", value_name = "TEXT", default_value = "generic")]
    pub platform: String,
    /// image of the kernel, on trees whose kernel is built in another repository
    #[arg(id = "KERNEL_TAG", long = "kernel-tag", value_name = "TEXT")]
    pub kernel_tag: Option<String>,
    /// configuration of that kernel, part of its image's tag
    #[arg(id = "KERNEL_CONFIG_FLAVOR", long = "kernel-config-flavor", value_name = "TEXT")]
    pub kernel_flavor: Option<String>,
    /// kernel file that replaces the one in rootfs.tar, to try it
    #[arg(id = "KERNEL_IMAGE", long = "kernel-image", value_name = "PATH")]
    pub kernel_image: Option<PathBuf>,
    /// hypervisor for an image of HV=acrn: acrn.bin of a build of ACRN; without it the image starts Linux alone
    #[arg(id = "ACRN_BIN", long = "acrn-bin", value_name = "PATH")]
    pub acrn_bin: Option<PathBuf>,
    /// partitions of the live disk, such as `efi conf imga`; the tree's own when unset
    #[arg(id = "LIVE_PART_SPEC", long = "live-part-spec", value_name = "TEXT")]
    pub live_parts: Option<String>,
    /// quick round during development: an ext4 root file system on an uncompressed disk; linuxkit reuses the previous rootfs.tar
    #[arg(id = "LIVE_UPDATE", long = "live-update", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub live_update: bool,
    /// sign the boot chain for Secure Boot with the keys of SIGN_KEYS: GRUB, and kernel, initrd and command line as one program
    #[arg(id = "SIGN", long = "sign", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub sign: bool,
    /// linuxkit reuses the previous rootfs.tar, as with LIVE_UPDATE, for any file system
    #[arg(id = "LIVE_FAST", long = "live-fast", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub live_fast: bool,
    /// build the packages of the root file system before it, instead of fetching their images
    #[arg(id = "ROOTFS_DEPS", long = "rootfs-deps", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub rootfs_deps: bool,
    /// packages that have a build-rstats.yml use it: they measure their use of resources at run time
    #[arg(id = "RSTATS", long = "rstats", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub rstats: bool,
    /// architecture at the end of image tags in templates; ZARCH when unset
    #[arg(id = "DOCKER_ARCH_TAG", long = "docker-arch-tag", value_name = "TEXT")]
    pub docker_arch_tag: Option<String>,
    /// first part of the version, unless the commit is a release
    #[arg(id = "EVE_SNAPSHOT_VERSION", long = "snapshot-version", value_name = "TEXT", default_value = "0.0.0", value_parser = parse::version)]
    pub snapshot_version: String,
    /// id of the disk in a Parallels bundle
    #[arg(id = "PARALLELS_UUID", long = "parallels-uuid", value_name = "UUID", default_value = "{5fbaabe3-6958-40ff-92a7-860e329aab41}")]
    pub parallels_uuid: String,
    /// path of the bill of materials; rootfs.spdx.json beside rootfs.img when unset
    #[arg(id = "SBOM", long = "sbom-file", value_name = "PATH")]
    pub sbom: Option<PathBuf>,
    /// version of syft, which writes the bill of materials
    #[arg(id = "SYFT_VERSION", long = "syft-version", value_name = "TEXT", default_value = "v0.78.0")]
    pub syft_version: String,
}

/// How packages are built, and how linuxkit is called for that.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of packages", mut_args = complete)]
pub struct PackageKnobs {
    /// build packages, push them too, or push only the registry's index of their architectures
    #[arg(id = "LINUXKIT_PKG_TARGET", long = "pkg-target", value_name = "WORD", default_value = "build", value_parser = parse::word::<PackageWork>(PackageWork::WORDS))]
    pub work: PackageWork,
    /// options of `linuxkit pkg` that replace --hash and --release
    #[arg(id = "LINUXKIT_OPTS", long = "linuxkit-opts", value_name = OPTIONS, default_value = "")]
    pub linuxkit_options: String,
    /// release tag for pushed packages; from git when unset
    #[arg(id = "EVE_REL", long = "eve-rel", value_name = "TEXT")]
    pub release: Option<String>,
    /// build packages even if their images exist
    #[arg(id = "FORCE_BUILD", long = "force-build", value_name = SWITCH, default_value = "n", value_parser = parse::force)]
    pub force: bool,
    /// pillar counts which of its lines run, for `coverage-merge`; this and the three next are build arguments
    #[arg(id = "COVER", long = "cover", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub cover: bool,
    /// pillar measures its memory from its first instruction on
    #[arg(id = "IMM_PROFILING", long = "imm-profiling", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub imm_profiling: bool,
    /// pillar leaks memory, to test what finds that
    #[arg(id = "ARTIFICIAL_LEAK", long = "artificial-leak", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub artificial_leak: bool,
    /// pillar lets a test make its agents fail
    #[arg(id = "FAULT_INJECTION", long = "fault-injection", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub fault_injection: bool,
    /// remove docker's dangling images after each package, also those of other projects
    #[arg(id = "PRUNE", long = "prune", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub prune: bool,
    /// linuxkit's remote builders: PLATFORM=CONTEXT[,PLATFORM=CONTEXT…]
    #[arg(id = "BUILDERS", long = "builders", value_name = "TEXT")]
    pub builders: Option<String>,
    /// registry and organization of package images instead of those in build.yml, such as localhost:5001/lfedge
    #[arg(id = "LINUXKIT_PKG_ORG", long = "pkg-org", value_name = "TEXT", value_parser = parse::organization)]
    pub organization: Option<String>,
    /// mirrors from which linuxkit takes images: URI or REGISTRY=URI, separated by commas
    #[arg(id = "LINUXKIT_MIRROR", long = "linuxkit-mirror", value_name = "TEXT")]
    pub mirror: Option<String>,
    /// name of the container of linuxkit's builder
    #[arg(id = "LINUXKIT_BUILDER_NAME", long = "builder-name", value_name = "TEXT")]
    pub builder_name: Option<String>,
    /// image of linuxkit's builder
    #[arg(id = "LINUXKIT_BUILDER_IMAGE", long = "builder-image", value_name = "TEXT")]
    pub builder_image: Option<String>,
    /// configuration of linuxkit's builder; /etc/buildkit/buildkitd.toml when unset, if there is one
    #[arg(id = "LINUXKIT_BUILDER_CONFIG", long = "builder-config", value_name = "PATH")]
    pub builder_config: Option<PathBuf>,
    /// how BuildKit shows the progress of a build
    #[arg(id = "BUILDKIT_PROGRESS", long = "buildkit-progress", value_name = "TEXT", default_value = "plain")]
    pub progress: String,
}

/// Where this machine gets packages and tools, and how much it prints.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of this machine", mut_args = complete)]
pub struct HostKnobs {
    /// URI of the Debian archive; from the machine's apt sources when unset
    #[arg(id = "DEBIAN_MIRROR", long = "debian-mirror", value_name = "URI")]
    pub debian_mirror: Option<String>,
    /// URI of Debian's security archive; from the machine's apt sources when unset
    #[arg(id = "DEBIAN_SECURITY_MIRROR", long = "debian-security-mirror", value_name = "URI")]
    pub debian_security_mirror: Option<String>,
    /// auto: install missing tools if run as root on a machine with apt; never: only report them
    #[arg(id = "INSTALL_TOOLS", long = "install-tools", value_name = "WORD", default_value = "auto", value_parser = parse::word::<InstallTools>(InstallTools::WORDS))]
    pub install_tools: InstallTools,
    /// compare the bytes of artifacts with what was made, not only size and time
    #[arg(id = "CHECK_ARTIFACTS", long = "check-artifacts", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub check_artifacts: bool,
    /// folder of the artifacts and compressed blocks of earlier builds, shared by all trees; off: none; store in the cache folder when unset
    #[arg(id = "STORE", long = "store", value_name = "PATH", value_parser = parse::store)]
    pub store: Option<parse::StorePlace>,
    /// the team's registry and a prefix, such as registry.example.org/team: packages and artifacts are taken from there instead of being made
    #[arg(id = "CACHE", long = "cache", value_name = "TEXT")]
    pub team_cache: Option<String>,
    /// off: leave CACHE alone; read: take from it; write: also send it what was made here
    #[arg(id = "CACHE_MODE", long = "cache-mode", value_name = "WORD", default_value = "read", value_parser = parse::word::<CacheMode>(CacheMode::WORDS))]
    pub cache_mode: CacheMode,
    /// a signed list of digests (`lock` writes it): images and artifacts of the image cache, the store and CACHE are taken only as it names them
    #[arg(id = "LOCKED", long = "locked", value_name = "PATH")]
    pub locked: Option<PathBuf>,
    /// the public key (PEM) that must have signed the list LOCKED
    #[arg(id = "LOCK_KEY", long = "lock-key", value_name = "PATH")]
    pub lock_key: Option<PathBuf>,
    /// folder with the keys of Secure Boot, outside of the tree; eve-xtask/keys in your folder of configurations when unset
    #[arg(id = "SIGN_KEYS", long = "keys", value_name = "PATH")]
    pub keys: Option<PathBuf>,
    /// most MiB of artifacts in the store; after a build the longest unused are removed
    #[arg(id = "STORE_LIMIT", long = "store-limit", value_name = "MiB", default_value = "4096", value_parser = parse::number(0, 1 << 30))]
    pub store_limit: u64,
    /// container tool of the linuxkit engine: docker, or podman by name
    #[arg(id = "DOCKER", long = "docker", value_name = "TEXT", default_value = "docker")]
    pub docker: String,
    /// proxy for plain HTTP, also inside builder images
    #[arg(id = "HTTP_PROXY", long = "http-proxy", value_name = SECRET)]
    pub http_proxy: Option<String>,
    /// proxy for HTTPS, also inside builder images
    #[arg(id = "HTTPS_PROXY", long = "https-proxy", value_name = SECRET)]
    pub https_proxy: Option<String>,
    /// hosts that need no proxy
    #[arg(id = "NO_PROXY", long = "no-proxy", value_name = "TEXT")]
    pub no_proxy: Option<String>,
    /// proxy for all other protocols
    #[arg(id = "ALL_PROXY", long = "all-proxy", value_name = SECRET)]
    pub all_proxy: Option<String>,
    /// let the scripts in tool containers print each command
    #[arg(id = "DEBUG", long = "debug-tools", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub debug: bool,
    /// print the tools' own output while they run
    #[arg(id = "V", long = "verbose-tools", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub verbose: bool,
    /// ring the terminal's bell when a verb that builds ends, well or not, after at least so many seconds
    #[arg(id = "BELL", long = "bell", value_name = "SECONDS", value_parser = parse::number(0, 1 << 30))]
    pub bell: Option<u64>,
}
