(** Complex numbers as pairs of reals, their finite sums, vectors of them, and linear maps of such vectors.

    As with real vectors, only the entries below a length that a statement names count. Norms are compared by their squares.
    Nothing here is analysis: there are no limits, and the exponential is only cos + i sin of a real angle. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors.
Open Scope R_scope.

Record complex := Complex { re : R; im : R }.

Definition real (x : R) : complex := Complex x 0.
Definition cplus (u v : complex) : complex := Complex (re u + re v) (im u + im v).
Definition copp (u : complex) : complex := Complex (- re u) (- im u).
Definition cminus (u v : complex) : complex := cplus u (copp v).
Definition ctimes (u v : complex) : complex := Complex (re u * re v - im u * im v) (re u * im v + im u * re v).
Definition conjugate (u : complex) : complex := Complex (re u) (- im u).

Declare Scope complex_scope.
Delimit Scope complex_scope with C.
Bind Scope complex_scope with complex.
Notation "0" := (real 0) : complex_scope.
Notation "1" := (real 1) : complex_scope.
Infix "+" := cplus : complex_scope.
Infix "-" := cminus : complex_scope.
Infix "*" := ctimes : complex_scope.

Lemma complex_eq u v : re u = re v -> im u = im v -> u = v.
Proof. destruct u, v; simpl; intros -> ->; reflexivity. Qed.

(** Equations of complex numbers by their real and imaginary parts. *)
Ltac by_parts := apply complex_eq; simpl; ring.

Lemma complex_ring_theory : ring_theory 0%C 1%C cplus ctimes cminus copp eq.
Proof. constructor; intros; try reflexivity; by_parts. Qed.
Add Ring complex_ring : complex_ring_theory.

(** |u|^2. *)
Definition abs2 (u : complex) : R := re u * re u + im u * im u.

Lemma abs2_nonneg u : 0 <= abs2 u.
Proof. unfold abs2. nra. Qed.

Lemma abs2_times u v : abs2 (u * v) = abs2 u * abs2 v.
Proof. unfold abs2; simpl. ring. Qed.

Lemma abs2_conjugate u : abs2 (conjugate u) = abs2 u.
Proof. unfold abs2; simpl. ring. Qed.

Lemma abs2_real x : abs2 (real x) = x * x.
Proof. unfold abs2; simpl. ring. Qed.

Lemma abs2_zero u : abs2 u = 0 -> u = 0%C.
Proof. unfold abs2. intros zero. apply complex_eq; simpl; nra. Qed.

Lemma conjugate_twice u : conjugate (conjugate u) = u.
Proof. by_parts. Qed.

Lemma conjugate_times u v : conjugate (u * v) = (conjugate u * conjugate v)%C.
Proof. by_parts. Qed.

Lemma times_conjugate u : (u * conjugate u)%C = real (abs2 u).
Proof. unfold abs2. by_parts. Qed.

(** If z S = S then z = 1 or S = 0. *)
Lemma times_fixed z s : (z * s = s)%C -> z <> 1%C -> s = 0%C.
Proof.
  intros fixed other. apply abs2_zero.
  assert (abs2 (z - 1) * abs2 s = 0) as product.
  { rewrite <- abs2_times. replace ((z - 1) * s)%C with (z * s - s)%C by ring. rewrite fixed.
    unfold abs2; simpl. ring. }
  apply Rmult_integral in product. destruct product as [zero|zero]; [|exact zero].
  exfalso. apply other. apply abs2_zero in zero. replace z with (z - 1 + 1)%C by ring. rewrite zero. ring.
Qed.

(** ** e^(i angle) *)
Definition cis (angle : R) : complex := Complex (cos angle) (sin angle).

Lemma cis_zero : cis 0 = 1%C.
Proof. apply complex_eq; simpl; [apply cos_0 | apply sin_0]. Qed.

Lemma cis_plus a b : cis (a + b) = (cis a * cis b)%C.
Proof. apply complex_eq; simpl; [rewrite cos_plus | rewrite sin_plus]; ring. Qed.

Lemma cis_opp a : cis (- a) = conjugate (cis a).
Proof. apply complex_eq; simpl; [apply cos_neg | apply sin_neg]. Qed.

Lemma abs2_cis a : abs2 (cis a) = 1.
Proof. unfold abs2, cis; simpl. pose proof (sin2_cos2 a). unfold Rsqr in *. lra. Qed.

Lemma cis_turns k : cis (2 * PI * INR k) = 1%C.
Proof.
  replace (2 * PI * INR k) with (0 + 2 * INR k * PI) by ring.
  apply complex_eq; simpl; [rewrite cos_period; apply cos_0 | rewrite sin_period; apply sin_0].
Qed.

(** ** Sums *)
Definition csum (n : nat) (f : nat -> complex) : complex :=
  Complex (sum n (fun i => re (f i))) (sum n (fun i => im (f i))).

Lemma csum_S n f : csum (S n) f = (csum n f + f n)%C.
Proof. by_parts. Qed.

Lemma csum_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> csum n f = csum n g.
Proof. intros same. apply complex_eq; apply sum_ext; intros i below; rewrite same; auto. Qed.

Lemma csum_zero n f : (forall i, (i < n)%nat -> f i = 0%C) -> csum n f = 0%C.
Proof. intros zero. apply complex_eq; apply sum_zero; intros i below; rewrite zero; auto. Qed.

Lemma csum_plus n f g : csum n (fun i => (f i + g i)%C) = (csum n f + csum n g)%C.
Proof. apply complex_eq; apply sum_plus. Qed.

Lemma csum_scal n c f : csum n (fun i => (c * f i)%C) = (c * csum n f)%C.
Proof. induction n as [|n IH]; [by_parts|]. rewrite !csum_S, IH. ring. Qed.

Lemma csum_swap n m (f : nat -> nat -> complex) :
  csum n (fun i => csum m (f i)) = csum m (fun j => csum n (fun i => f i j)).
Proof. apply complex_eq; apply sum_swap. Qed.

Lemma csum_conjugate n f : csum n (fun i => conjugate (f i)) = conjugate (csum n f).
Proof. apply complex_eq; simpl; [reflexivity | apply sum_opp]. Qed.

Lemma csum_only n f k : (k < n)%nat -> (forall i, (i < n)%nat -> i <> k -> f i = 0%C) -> csum n f = f k.
Proof.
  intros below zero. apply complex_eq; simpl; rewrite (sum_only n _ k) by
    (try exact below; intros i small other; rewrite (zero i small other); reflexivity); reflexivity.
Qed.

Lemma csum_first n f : csum (S n) f = (f O + csum n (fun i => f (S i)))%C.
Proof. apply complex_eq; apply sum_first. Qed.

(** |f 0 + f 1 + ...|^2 is the sum of all f j times the conjugate of f l. *)
Lemma abs2_csum n f : abs2 (csum n f) = sum n (fun j => sum n (fun l => re (f j * conjugate (f l)))).
Proof.
  unfold abs2; simpl. rewrite !sum_product_terms, <- sum_plus. apply sum_ext; intros j _.
  rewrite <- sum_plus. apply sum_ext; intros l _. ring.
Qed.

(** ** Vectors *)
Definition cvec := nat -> complex.

(** The square of the norm of a vector of length n. *)
Definition csquare (n : nat) (x : cvec) : R := sum n (fun i => abs2 (x i)).

Lemma csquare_ext n x y : (forall i, (i < n)%nat -> x i = y i) -> csquare n x = csquare n y.
Proof. intros same. apply sum_ext; intros i below. rewrite same; auto. Qed.

Lemma csquare_nonneg n x : 0 <= csquare n x.
Proof. apply sum_nonneg; intros i _. apply abs2_nonneg. Qed.

Lemma csquare_zero n x : (forall i, (i < n)%nat -> x i = 0%C) -> csquare n x = 0.
Proof. intros zero. apply sum_zero; intros i below. rewrite zero by exact below. rewrite abs2_real. ring. Qed.

Lemma csquare_scal n c x : csquare n (fun i => (c * x i)%C) = abs2 c * csquare n x.
Proof. unfold csquare. rewrite <- sum_scal. apply sum_ext; intros i _. apply abs2_times. Qed.

Lemma csquare_conjugate n x : csquare n (fun i => conjugate (x i)) = csquare n x.
Proof. apply sum_ext; intros i _. apply abs2_conjugate. Qed.

Lemma csquare_real n x : csquare n (fun i => real (x i)) = square n x.
Proof. apply sum_ext; intros i _. apply abs2_real. Qed.

(** An array of shape (n, q) is a vector of length n q. Row j of it, and the array of given rows: *)
Definition row (q j : nat) (x : cvec) : cvec := fun c => x (j * q + c)%nat.
Definition stack (q : nat) (f : nat -> cvec) : cvec := fun i => f (i / q)%nat (i mod q)%nat.

Lemma row_stack q f j c : (c < q)%nat -> row q j (stack q f) c = f j c.
Proof.
  intros below. unfold row, stack.
  rewrite Nat.div_add_l, (Nat.div_small c q), Nat.add_0_r by lia.
  rewrite Nat.add_comm, Nat.mod_add, Nat.mod_small by lia. reflexivity.
Qed.

Lemma csquare_rows n q x : csquare (n * q) x = sum n (fun j => csquare q (row q j x)).
Proof. apply sum_blocks. Qed.

Lemma csquare_stack n q f : csquare (n * q) (stack q f) = sum n (fun j => csquare q (f j)).
Proof.
  rewrite csquare_rows. apply sum_ext; intros j _. apply csquare_ext; intros c below. apply row_stack; exact below.
Qed.

(** ** Linear maps that read n entries *)
Record linear (n : nat) (F : cvec -> cvec) : Prop := {
  linear_ext x y i : (forall j, (j < n)%nat -> x j = y j) -> F x i = F y i;
  linear_plus x y i : F (fun j => (x j + y j)%C) i = (F x i + F y i)%C;
  linear_scal c x i : F (fun j => (c * x j)%C) i = (c * F x i)%C }.

Lemma linear_zero n F x i : linear n F -> (forall j, (j < n)%nat -> x j = 0%C) -> F x i = 0%C.
Proof.
  intros map zero. rewrite (linear_ext n F map x (fun j => (0 * x j)%C)).
  - rewrite (linear_scal n F map). ring.
  - intros j below. rewrite zero by exact below. ring.
Qed.

Lemma linear_sum n F m (c : nat -> complex) (x : nat -> cvec) i : linear n F ->
  F (fun j => csum m (fun k => c k * x k j)%C) i = csum m (fun k => c k * F (x k) i)%C.
Proof.
  intros map. induction m as [|m IH].
  - rewrite (linear_zero n F _ i map) by (intros; by_parts). by_parts.
  - rewrite csum_S, <- IH, <- (linear_scal n F map), <- (linear_plus n F map).
    apply (linear_ext n F map); intros j _. apply csum_S.
Qed.

(** A x for a complex matrix with n columns. *)
Definition capply (n : nat) (A : nat -> cvec) (x : cvec) : cvec := fun i => csum n (fun j => A i j * x j)%C.

Lemma linear_capply n A : linear n (capply n A).
Proof.
  constructor; unfold capply.
  - intros x y i same. apply csum_ext; intros j below. rewrite same by exact below. reflexivity.
  - intros x y i. rewrite <- csum_plus. apply csum_ext; intros j _. ring.
  - intros c x i. rewrite <- csum_scal. apply csum_ext; intros j _. ring.
Qed.

(** ||F||^2 <= s for F from vectors of length n to vectors of length m. *)
Definition cbounded (n m : nat) (F : cvec -> cvec) (s : R) : Prop :=
  forall x, csquare m (F x) <= s * csquare n x.
