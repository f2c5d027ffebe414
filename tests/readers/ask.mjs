// Asks exported folders in transformers.js, without a network.
// node ask.mjs PACKAGES < request: {asks: [{folder, options, prompts, max_new_tokens}]}, where a
// prompt is a list of messages or a text to go on from. Writes [[{prompt: ids, answer: ids}]] as its last line.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const packages = createRequire(join(process.argv[2], 'package.json'));
const { AutoModelForCausalLM, AutoTokenizer, env } = await import(
  pathToFileURL(packages.resolve('@huggingface/transformers'))
);
env.allowRemoteModels = false;
env.useFSCache = false;

const numbers = (tensor) => tensor.tolist().map((row) => row.map(Number))[0];

async function ask({ folder, options, prompts, max_new_tokens }) {
  env.localModelPath = dirname(folder);
  const name = basename(folder);
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const model = await AutoModelForCausalLM.from_pretrained(name, { device: 'cpu', ...options });
  const answers = [];
  for (const asked of prompts) {
    const inputs =
      typeof asked === 'string'
        ? tokenizer(asked)
        : tokenizer.apply_chat_template(asked, { add_generation_prompt: true });
    const prompt = numbers(inputs.input_ids);
    const said = await model.generate({ ...inputs, max_new_tokens, do_sample: false });
    answers.push({ prompt, answer: numbers(said).slice(prompt.length) });
  }
  await model.dispose();
  return answers;
}

const answered = [];
for (const one of JSON.parse(readFileSync(0, 'utf8')).asks) answered.push(await ask(one));
console.log(`\n${JSON.stringify(answered)}`);
