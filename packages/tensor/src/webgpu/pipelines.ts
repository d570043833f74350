// Compiled programs, cached by name + variant, and the bind group layouts they share.
import { Magi1Error } from '../errors.ts';
import { variantKey } from '../kernel.ts';
import type { Variant } from '../kernel.ts';
import { STAGE_COMPUTE } from './adapter.ts';
import type { FailureLog } from './failures.ts';
import type { AnyProgram } from './kernel.ts';
import { expandProgram, numberLines, PARAMS_BYTES } from './prelude.ts';
import type { ExpandedProgram } from './prelude.ts';

interface Layout {
  readonly id: number;
  readonly bindGroup: GPUBindGroupLayout;
  readonly pipeline: GPUPipelineLayout;
}

export interface CompiledProgram {
  readonly expanded: ExpandedProgram;
  readonly layoutId: number;
  readonly bindGroupLayout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
}

export class PipelineCache {
  readonly #gpu: GPUDevice;
  readonly #failures: FailureLog;
  readonly #compiled = new Map<string, CompiledProgram>();
  /** By `variantKey`: another order of a variant's names is expanded again, to the same program. */
  readonly #expanded = new Map<string, { program: AnyProgram; expanded: ExpandedProgram }>();
  readonly #layouts = new Map<string, Layout>();

  constructor(gpu: GPUDevice, failures: FailureLog) {
    this.#gpu = gpu;
    this.#failures = failures;
  }

  expand(program: AnyProgram, variant: Variant): ExpandedProgram {
    const key = variantKey(program.name, variant);
    const known = this.#expanded.get(key);
    if (known === undefined) {
      const expanded = expandProgram(program, variant);
      this.#expanded.set(key, { program, expanded });
      return expanded;
    }
    if (known.program !== program) throw new Magi1Error(`WebGPU: two programs are named ${program.name}`);
    return known.expanded;
  }

  /** Compiles on a miss. A compile error is reported to the failure log, as the GPU tells it later. */
  get(op: string, expanded: ExpandedProgram, tables: readonly boolean[]): CompiledProgram {
    const key = cacheKey(expanded, tables);
    const known = this.#compiled.get(key);
    if (known !== undefined) return known;
    const layout = this.#layout(expanded, tables);
    this.#gpu.pushErrorScope('validation');
    const module = this.#gpu.createShaderModule({ label: expanded.key, code: expanded.code });
    const pipeline = this.#gpu.createComputePipeline(descriptor(expanded, layout, module));
    this.#failures.watch(
      this.#gpu.popErrorScope().then(async (error) => {
        if (error === null) return;
        this.#compiled.delete(key);
        this.#failures.reportCause(await compileError(op, expanded, module, error.message));
      }),
    );
    const compiled = { expanded, layoutId: layout.id, bindGroupLayout: layout.bindGroup, pipeline };
    this.#compiled.set(key, compiled);
    return compiled;
  }

  #layout(expanded: ExpandedProgram, tables: readonly boolean[]): Layout {
    const hasParams = expanded.params.length > 0;
    const signature = [
      hasParams ? 'p' : '-',
      ...expanded.bindings.map(({ access }, i) => (tables[i] ? 't' : access === 'read' ? 'r' : 'w')),
    ].join('');
    const known = this.#layouts.get(signature);
    if (known !== undefined) return known;
    const entries: GPUBindGroupLayoutEntry[] = expanded.bindings.map(({ access }, i) => ({
      binding: i + 1,
      visibility: STAGE_COMPUTE,
      buffer: { type: access === 'read' ? 'read-only-storage' : 'storage', hasDynamicOffset: tables[i] ?? false },
    }));
    if (hasParams) {
      entries.unshift({
        binding: 0,
        visibility: STAGE_COMPUTE,
        buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: PARAMS_BYTES },
      });
    }
    const bindGroup = this.#gpu.createBindGroupLayout({ label: signature, entries });
    const pipeline = this.#gpu.createPipelineLayout({ label: signature, bindGroupLayouts: [bindGroup] });
    const layout = { id: this.#layouts.size, bindGroup, pipeline };
    this.#layouts.set(signature, layout);
    return layout;
  }
}

function cacheKey(expanded: ExpandedProgram, tables: readonly boolean[]): string {
  return tables.includes(true) ? `${expanded.key} ${tables.map(Number).join('')}` : expanded.key;
}

function descriptor(expanded: ExpandedProgram, layout: Layout, module: GPUShaderModule): GPUComputePipelineDescriptor {
  return { label: expanded.key, layout: layout.pipeline, compute: { module, entryPoint: 'main' } };
}

async function compileError(op: string, expanded: ExpandedProgram, module: GPUShaderModule, message: string) {
  const info = await module.getCompilationInfo();
  const lines = info.messages.map((m) => `  line ${m.lineNum}, column ${m.linePos}: ${m.type}: ${m.message}`);
  const details = lines.length > 0 ? lines.join('\n') : message;
  return new Magi1Error(`${op}: program ${expanded.key} does not compile:\n${details}\n${numberLines(expanded.code)}`);
}
