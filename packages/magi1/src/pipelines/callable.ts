// Pipelines are called like functions: `await pipe({ prompt })`.

/** An object that can be called; calling it is `generate`. Private fields of sub-classes live on the function itself. */
export abstract class Callable<Request, Result> {
  constructor() {
    const self = (request: Request): Promise<Result> => (self as unknown as this).generate(request);
    return Object.setPrototypeOf(self, new.target.prototype) as this;
  }

  abstract generate(request: Request): Promise<Result>;
}
