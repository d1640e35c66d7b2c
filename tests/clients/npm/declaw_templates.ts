// SPDX-License-Identifier: Apache-2.0
// The server has a template "box", with a shell and little else.
import { InvalidArgumentError, NotFoundError, Template, TemplateBase } from "@declaw/sdk";
import { inSandbox } from "./declaw_bench.js";
import { alone, eq, fails, ok, test, until } from "./harness.js";

test(["TemplateBase#fromBaseImage", "TemplateBase#runCmd", "TemplateBase#copy", "TemplateBase#setEnvs", "TemplateBase#aptInstall",
  "TemplateBase#setStartCmd", "TemplateBase#fromDockerfile", "TemplateBase#toJSON"], "what a build is told", async () => {
  const template = new TemplateBase().fromBaseImage("debian:12").runCmd(["echo", "hi"]).copy("a", "/b", 0o644).setEnvs({ A: "1" })
    .aptInstall("jq").setStartCmd("true");
  eq(template.toJSON(), {
    base_image: "debian:12", run_cmds: ["echo hi"], copies: [{ src: "a", dst: "/b", mode: 0o644 }], envs: { A: "1" },
    apt_packages: ["jq"], start_cmd: "true",
  });
  eq(new TemplateBase().fromDockerfile("FROM x").toJSON(), { dockerfile: "FROM x" });
});

test("Template.build", "from a template, with commands, variables and a program that is started", async () => {
  const template = new TemplateBase().fromBaseImage("box").runCmd(["echo", "made", ">", "/made"]).setEnvs({ COLOUR: "blue" })
    .setStartCmd("echo up > /home/user/up");
  const logs: string[] = [];
  const built = await Template.build(template, "cases-built", { memoryMb: 512, diskMb: 512, cpuCount: 1, onBuildLogs: (l) => logs.push(l) });
  eq(built.status, "completed", logs.join("\n"));
  ok(/^bld-/.test(built.buildId) && /^tpl-/.test(built.templateId!) && logs.length > 0);
  await inSandbox(async (sbx) => {
    eq((await sbx.commands.run("cat /made; echo $COLOUR")).stdout, "made\nblue\n");
    await until("started", () => sbx.files.exists("/home/user/up"));
  }, { template: "cases-built" });
});

test(["Template.buildInBackground", "Template.getBuildStatus"], "a Dockerfile", async () => {
  const template = new TemplateBase().fromDockerfile("FROM localhost/box\nRUN echo docker > /made\n");
  const { buildId } = await Template.buildInBackground(template, "cases-docker");
  await until("built", async () => (await Template.getBuildStatus(buildId)).status !== "building", 90);
  const done = await Template.getBuildStatus(buildId);
  eq(done.status, "completed", done.logs.join("\n"));
  ok(done.logs.length > 0);
  await inSandbox(async (sbx) => eq((await sbx.commands.run("cat /made")).stdout, "docker\n"), { template: "cases-docker" });
  await fails(Template.getBuildStatus("bld-none0000"), NotFoundError);
});

// Not beside the two builds above: an owner has at most two at a time.
alone("Template.build", "what fails says so", async () => {
  eq((await Template.build(new TemplateBase().fromBaseImage("box").runCmd(["false"]), "cases-failed")).status, "failed");
  await fails(Template.build(new TemplateBase().fromDockerfile("RUN true"), "cases-bad"), InvalidArgumentError);
  // No client uploads the files that are named there.
  await fails(Template.build(new TemplateBase().fromBaseImage("box").copy("a", "/b"), "cases-copy"), InvalidArgumentError, /copies/);
});
