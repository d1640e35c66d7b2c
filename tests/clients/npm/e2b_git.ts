// SPDX-License-Identifier: Apache-2.0
// The package's git, which runs inside: one repository and its remote on the sandbox's own disk.
import { inSandbox } from "./e2b_bench.js";
import { eq, ok, test } from "./harness.js";

const WORK = "/home/user/work", REMOTE = "/home/user/remote.git", COPY = "/home/user/copy";

test(["Git#init", "Git#remoteAdd", "Git#remoteGet", "Git#configureUser", "Git#setConfig", "Git#getConfig", "Git#status", "Git#add", "Git#commit",
  "Git#push", "Git#clone", "Git#pull", "Git#branches", "Git#createBranch", "Git#checkoutBranch", "Git#deleteBranch", "Git#reset", "Git#restore",
  "Git#dangerouslyAuthenticate"],
  "a repository from its first commit to a pull", () => inSandbox(async ({ git, files }) => {
  await git.init(REMOTE, { bare: true, initialBranch: "main" });
  await git.init(WORK, { initialBranch: "main" });
  await git.configureUser("A Gardener", "gardener@farm.test");
  await git.setConfig("seed.kind", "bean");
  eq([await git.getConfig("seed.kind"), await git.getConfig("seed.none")], ["bean", undefined]);
  await git.remoteAdd(WORK, "origin", REMOTE);
  eq([await git.remoteGet(WORK, "origin"), await git.remoteGet(WORK, "none")], [REMOTE, undefined]);
  await files.write(`${WORK}/a`, "one");
  ok((await git.status(WORK)).hasUntracked);
  await git.add(WORK);
  ok((await git.status(WORK)).hasStaged);
  await git.commit(WORK, "sow");
  ok((await git.status(WORK)).isClean);
  await git.push(WORK, { remote: "origin", branch: "main", setUpstream: true });
  await git.clone(REMOTE, { path: COPY });
  eq(await files.read(`${COPY}/a`), "one");
  await files.write(`${WORK}/a`, "two");
  await git.restore(WORK, { paths: ["a"] });
  eq(await files.read(`${WORK}/a`), "one");
  await files.write(`${WORK}/a`, "three");
  await git.add(WORK);
  await git.reset(WORK);
  ok(!(await git.status(WORK)).hasStaged);
  await git.add(WORK);
  await git.commit(WORK, "grow");
  await git.push(WORK, { remote: "origin", branch: "main" });
  await git.pull(COPY, { remote: "origin", branch: "main" });
  eq(await files.read(`${COPY}/a`), "three");
  await git.createBranch(WORK, "side");
  await git.checkoutBranch(WORK, "main");
  eq(await git.branches(WORK), { branches: ["main", "side"], currentBranch: "main" });
  await git.deleteBranch(WORK, "side", { force: true });
  eq((await git.branches(WORK)).branches, ["main"]);
  await git.dangerouslyAuthenticate({ username: "gardener", password: "secret", host: "farm.test" });
  ok((await files.read(".git-credentials")).includes("gardener:secret@farm.test"));
}));
