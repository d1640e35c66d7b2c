/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/build_script.h"

const char build_script_setup[] =
	"set -eu\n"
	"mkdir -p /build /etc/containers\n"
	/* A file system of its own: layers can not lie on the sandbox's, which is made of layers itself. */
	"mount -t tmpfs -o \"size=${DECLAW_DISK_MB}m,mode=0700\" build /build\n"
	"mkdir /build/store /build/run /build/tmp /build/home /build/context\n"
	"cat > /etc/containers/policy.json <<'END'\n"
	"{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n"
	"END\n"
	"cat > /etc/containers/registries.conf <<'END'\n"
	"unqualified-search-registries = [\"docker.io\"]\n"
	"short-name-mode = \"disabled\"\n"
	"END\n"
	"cat > /etc/containers/storage.conf <<'END'\n"
	"[storage]\n"
	"driver = \"overlay\"\n"
	"graphroot = \"/build/store\"\n"
	"runroot = \"/build/run\"\n"
	"[storage.options.overlay]\n"
	"mountopt = \"userxattr\"\n"
	"END\n";

/* The templates that it starts from are at /base/0 and so on. */
static const char dockerfile[] =
	"set -eu\n"
	"exec 2>&1\n"
	"i=0\n"
	"for name in ${DECLAW_BASES-}; do\n"
	"  echo \"preparing the template $name\"\n"
	"  c=$(buildah from scratch)\n"
	"  m=$(buildah mount \"$c\")\n"
	"  cp -a \"/base/$i/.\" \"$m/\"\n"
	"  xargs -0 -r -n1 sh -c 'buildah config --env \"$1\" \"$0\"' \"$c\" < \"/build/base$i.env\"\n"
	"  buildah umount \"$c\" > /dev/null\n"
	"  buildah commit --quiet --rm \"$c\" \"localhost/$name:latest\" > /dev/null\n"
	"  i=$((i + 1))\n"
	"done\n"
	/* With it a step could leave its root, and change the programs that run in this sandbox after it, with more rights. */
	"buildah bud --cap-drop CAP_SYS_CHROOT --layers=false --force-rm --tag localhost/declaw-result:out "
	"--file /build/Dockerfile /build/context\n"
	"c=$(buildah from --pull-never localhost/declaw-result:out)\n"
	"m=$(buildah mount \"$c\")\n"
	"ln -s \"$m\" /build/root\n"
	"buildah inspect --type image localhost/declaw-result:out > /build/config.json\n";

static const char import[] =
	"set -eu\n"
	"exec 2>&1\n"
	"mkdir /build/layout\n"
	"tar -xf /build/archive -C /build/layout --no-same-owner\n"
	"tag=${DECLAW_TAG-}\n"
	"layout=/build/layout\n"
	"convert() {\n"
	"  skopeo --insecure-policy copy --quiet \"$1\" oci:/build/converted:image\n"
	"  rm -rf /build/layout\n"
	"  layout=/build/converted tag=image\n"
	"}\n"
	"if [ -f /build/layout/oci-layout ]; then\n"
	"  if [ -z \"$tag\" ]; then\n"
	"    tags=$(umoci ls --layout /build/layout)\n"
	"    case $(printf '%s' \"$tags\" | grep -c .) in\n"
	"    0) convert oci:/build/layout ;;\n"
	"    1) tag=$tags ;;\n"
	"    *) echo \"the archive holds several images, choose one by its tag:\" $tags; exit 1 ;;\n"
	"    esac\n"
	"  fi\n"
	"elif [ -f /build/layout/manifest.json ]; then\n"
	"  convert \"docker-archive:/build/archive${tag:+:$tag}\"\n"
	"else\n"
	"  echo 'the archive is no image: it has neither oci-layout (OCI) nor manifest.json (docker save) at its top'\n"
	"  exit 1\n"
	"fi\n"
	"rm -f /build/archive\n"
	"umoci unpack --image \"$layout:$tag\" /build/bundle\n"
	"rm -rf \"$layout\"\n"
	"ln -s bundle/rootfs /build/root\n"
	"mv /build/bundle/config.json /build/config.json\n";

static const char debian[] = "set -eu\n"
			     "exec 2>&1\n"
			     "mmdebstrap --mode=root --variant=minbase --format=directory "
			     "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg "
			     "${DECLAW_PACKAGES:+\"--include=$DECLAW_PACKAGES\"} "
			     "\"$DECLAW_SUITE\" /build/root ${DECLAW_MIRROR:+\"$DECLAW_MIRROR\"}\n"
			     "echo '[]' > /build/config.json\n";

const char *const build_script_make[] = {
	[BUILD_DOCKERFILE] = dockerfile,
	[BUILD_IMPORT] = import,
	[BUILD_DEBIAN] = debian,
};

const char build_script_pack[] =
	"exec tar --numeric-owner --xattrs --xattrs-include=security.capability --warning=no-file-ignored "
	"--exclude='./dev/?*' --exclude='./proc/?*' --exclude='./sys/?*' -C /build/root/. -c .\n";
